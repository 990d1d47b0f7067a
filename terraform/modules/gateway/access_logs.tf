# The load balancer's access logs. No credential stands in a URL, so none stands here.

locals {
  access_logs_bucket = "${var.name}-access-logs-${var.account_id}"
}

resource "aws_s3_bucket" "access_logs" {
  # checkov:skip=CKV_AWS_18:It is where access logs go; logs of the logs would be written for ever.
  # checkov:skip=CKV_AWS_144:Logs of one region's load balancer are of no use without that region.
  # checkov:skip=CKV_AWS_145:Load balancers cannot write to a bucket with a key of one's own.
  # checkov:skip=CKV2_AWS_62:Nobody waits for a log file.
  bucket = local.access_logs_bucket
}

resource "aws_s3_bucket_public_access_block" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.log_retention_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_iam_policy_document" "access_logs" {
  statement {
    sid       = "LoadBalancersWrite"
    actions   = ["s3:PutObject"]
    resources = ["arn:${var.partition}:s3:::${local.access_logs_bucket}/clients/AWSLogs/${var.account_id}/*"]

    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid       = "NothingWithoutTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["arn:${var.partition}:s3:::${local.access_logs_bucket}", "arn:${var.partition}:s3:::${local.access_logs_bucket}/*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "access_logs" {
  bucket = aws_s3_bucket.access_logs.id
  policy = data.aws_iam_policy_document.access_logs.json
}
