# Images and the tasks' cluster, with no AWS at all.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name                     = "trial"
  region                   = "us-east-1"
  account_id               = "123456789012"
  partition                = "aws"
  role_names               = { task = "trial-task", execution = "trial-task-execution" }
  file_system_arns         = ["arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1"]
  manage_registry_scanning = true
  images_kept              = 50
  storage_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/x"
  logs_key_arn             = "arn:aws:kms:us-east-1:123456789012:key/y"
  log_retention_days       = 400
  alarm_topic_arn          = "arn:aws:sns:us-east-1:123456789012:x"
}

run "an_image_is_what_its_tag_said_when_it_was_pushed_and_is_looked_at" {
  command = plan

  module {
    source = "./modules/tasks"
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE" && repository.encryption_configuration[0].encryption_type == "KMS"])
    error_message = "Tags do not move, and images are encrypted."
  }

  assert {
    condition     = aws_ecr_registry_scanning_configuration.this[0].scan_type == "ENHANCED"
    error_message = "The registry is scanned."
  }

  assert {
    condition     = one(aws_ecs_cluster.this.setting).value == "disabled"
    error_message = "A family a user is no reason to pay for metrics a user."
  }

  assert {
    condition     = toset(aws_ecs_cluster_capacity_providers.this.capacity_providers) == toset(["FARGATE", "FARGATE_SPOT"])
    error_message = "Tasks run on demand or on Spot."
  }

  assert {
    condition     = aws_cloudwatch_log_group.sessions.retention_in_days == 400
    error_message = "Logs are kept for as long as was said."
  }
}

run "of_two_deployments_in_an_account_one_keeps_the_registrys_rules" {
  command = plan

  module {
    source = "./modules/tasks"
  }

  variables {
    manage_registry_scanning = false
  }

  assert {
    condition     = length(aws_ecr_registry_scanning_configuration.this) == 0
    error_message = "The other leaves them alone."
  }
}
