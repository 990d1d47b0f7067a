# Which terraform and which provider this is written for.

terraform {
  required_version = ">= 1.9, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.25"
    }
  }
}

provider "aws" {
  region = var.region
  # An environment that is applied with the credentials of another account is refused before anything happens.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Application = "shellgate"
      Deployment  = var.name
    }
  }
}
