# The database, with no AWS at all.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name               = "trial"
  account_id         = "123456789012"
  partition          = "aws"
  engine_version     = "17.5"
  instances          = 2
  capacity           = { min = 0.5, max = 4 }
  database           = "shellgate"
  port               = 5432
  connections        = 121
  subnet_ids         = ["subnet-1", "subnet-2"]
  security_group_id  = "sg-1"
  backup_days        = 30
  protect            = true
  storage_key_arn    = "arn:aws:kms:us-east-1:123456789012:key/x"
  logs_key_arn       = "arn:aws:kms:us-east-1:123456789012:key/y"
  log_retention_days = 400
  alarm_topic_arn    = "arn:aws:sns:us-east-1:123456789012:x"
}

run "rows_are_encrypted_saved_and_reached_with_a_role" {
  command = plan

  module {
    source = "./modules/database"
  }

  assert {
    condition     = aws_rds_cluster.this.storage_encrypted && aws_rds_cluster.this.kms_key_id == var.storage_key_arn
    error_message = "Rows are encrypted with the deployment's own key."
  }

  assert {
    condition     = aws_rds_cluster.this.iam_database_authentication_enabled && aws_rds_cluster.this.manage_master_user_password
    error_message = "Gateways sign in with their role, and nobody writes a password down."
  }

  assert {
    condition     = aws_rds_cluster.this.backup_retention_period == 30 && aws_rds_cluster.this.deletion_protection && aws_rds_cluster.this.final_snapshot_identifier == "trial-final"
    error_message = "The database can be restored, and is not deleted by accident."
  }

  assert {
    condition     = contains([for parameter in aws_rds_cluster_parameter_group.this.parameter : parameter.name if parameter.value == "1"], "rds.force_ssl") && aws_rds_cluster_parameter_group.this.family == "aurora-postgresql17"
    error_message = "Without TLS there is no connection."
  }

  assert {
    condition     = length(aws_rds_cluster_instance.this) == 2 && alltrue([for instance in aws_rds_cluster_instance.this : !instance.publicly_accessible])
    error_message = "A second instance takes over, and none is public."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["connections"].threshold == 121
    error_message = "More connections than all gateways should need are told."
  }
}

run "a_database_to_try_things_on_leaves_nothing" {
  command = plan

  module {
    source = "./modules/database"
  }

  variables {
    instances = 1
    protect   = false
  }

  assert {
    condition     = aws_rds_cluster.this.skip_final_snapshot && !aws_rds_cluster.this.deletion_protection
    error_message = "It can be deleted, and leaves no snapshot."
  }
}

run "a_database_that_is_there" {
  module {
    source = "./modules/database"
  }
}

run "what_aws_has_moved_on_is_not_moved_back" {
  command = plan

  module {
    source = "./modules/database"
  }

  variables {
    engine_version = "17.4"
  }

  assert {
    condition     = aws_rds_cluster.this.engine_version == "17.5" && alltrue([for instance in aws_rds_cluster_instance.this : instance.engine_version == "17.5"])
    error_message = "The version that is written down is the one that the database was made with."
  }
}
