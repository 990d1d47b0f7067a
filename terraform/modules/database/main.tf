# Postgres: sessions' rows. Gateways sign in with their role and have no password; the master's password is made and
# rotated by AWS and seen by nobody, and is for setting up the gateways' user (docs/operations.md).

locals {
  family = "aurora-postgresql${split(".", var.engine_version)[0]}"
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Where nothing but the database is"
  subnet_ids  = var.subnet_ids
}

resource "aws_rds_cluster_parameter_group" "this" {
  name        = "${var.name}-${local.family}"
  description = "TLS only; slow statements and changes of the schema are logged"
  family      = local.family

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_rds_cluster" "this" {
  # checkov:skip=CKV2_AWS_8:Aurora's own backups reach back to any second; a plan of nightly ones adds nothing.
  cluster_identifier = var.name
  engine             = "aurora-postgresql"
  engine_mode        = "provisioned"
  engine_version     = var.engine_version
  database_name      = var.database
  port               = var.port

  master_username               = "master"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.storage_key_arn

  iam_database_authentication_enabled = true
  # Statements by the AWS API, for setting up: nobody needs a way into the VPC.
  enable_http_endpoint = true

  storage_encrypted = true
  kms_key_id        = var.storage_key_arn

  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [var.security_group_id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this.name

  backup_retention_period      = var.backup_days
  preferred_backup_window      = "02:00-02:30"
  preferred_maintenance_window = "sun:03:30-sun:04:30"
  copy_tags_to_snapshot        = true
  deletion_protection          = var.protect
  skip_final_snapshot          = !var.protect
  final_snapshot_identifier    = var.protect ? "${var.name}-final" : null

  enabled_cloudwatch_logs_exports = ["postgresql"]

  serverlessv2_scaling_configuration {
    min_capacity = var.capacity.min
    max_capacity = var.capacity.max
  }

  lifecycle {
    # AWS moves minor versions on by itself, and none goes back. A major one is docs/operations.md's.
    ignore_changes = [engine_version]
  }

  depends_on = [aws_cloudwatch_log_group.this]
}

resource "aws_rds_cluster_instance" "this" {
  count = var.instances

  identifier           = "${var.name}-${count.index}"
  cluster_identifier   = aws_rds_cluster.this.id
  engine               = aws_rds_cluster.this.engine
  engine_version       = aws_rds_cluster.this.engine_version
  instance_class       = "db.serverless"
  db_subnet_group_name = aws_db_subnet_group.this.name

  publicly_accessible        = false
  auto_minor_version_upgrade = true
  # The first one writes; each further one takes over in this order.
  promotion_tier = min(count.index, 15)

  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.storage_key_arn

  lifecycle {
    ignore_changes = [engine_version]
  }
}

# RDS would make it by itself, and keep it for ever.
resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/rds/cluster/${var.name}/postgresql"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-database-monitoring"
  description        = "RDS: writes the instances' figures"
  assume_role_policy = data.aws_iam_policy_document.monitoring_trust.json
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:${var.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
