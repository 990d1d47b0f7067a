# The users' files, with no AWS at all. Who may mount is the policies' to say, and tests/terraform's to show.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name              = "trial"
  region            = "us-east-1"
  account_id        = "123456789012"
  partition         = "aws"
  file_systems      = ["homes-1", "homes-2"]
  subnet_ids        = ["subnet-1", "subnet-2", "subnet-3"]
  security_group_id = "sg-1"
  task_role_arn     = "arn:aws:iam::123456789012:role/task"
  storage_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/x"
  backup_days       = 30
  protect           = true
  alarm_topic_arn   = "arn:aws:sns:us-east-1:123456789012:x"
}

run "files_are_encrypted_saved_and_mounted_in_every_zone" {
  command = plan

  module {
    source = "./modules/volumes"
  }

  assert {
    condition     = alltrue([for file_system in aws_efs_file_system.this : file_system.encrypted && file_system.kms_key_id == var.storage_key_arn])
    error_message = "Files are encrypted with the deployment's own key."
  }

  assert {
    condition     = length(aws_efs_mount_target.this) == 6 && toset(keys(aws_efs_file_system_policy.this)) == toset(["homes-1", "homes-2"])
    error_message = "Each file system has a mount target a zone, and a policy."
  }

  assert {
    condition     = one(aws_backup_plan.this.rule[*].lifecycle[0].delete_after) == 30 && !aws_backup_vault.this.force_destroy
    error_message = "Backups are kept for as long as was said."
  }
}
