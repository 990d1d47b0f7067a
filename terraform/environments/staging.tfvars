# A small deployment to try things on: what may fail fails here, and what is lost is not missed.

name       = "shellgate-staging"
account_id = "111111111111"
region     = "us-east-1"
zones      = ["us-east-1a", "us-east-1b"]

domain          = "shell.staging.example.com"
certificate_arn = "arn:aws:acm:us-east-1:111111111111:certificate/00000000-0000-0000-0000-000000000000"

issuers = [{
  issuer   = "https://id.staging.example.com"
  audience = ["shellgate"]
  jwks_url = "https://id.staging.example.com/.well-known/jwks.json"
}]

images = { gateway = "0.1.0", task = "0.1.0" }

gateway      = { cpu = 512, memory = 1024, min = 1, max = 2 }
database     = { instances = 1, max_capacity = 1 }
sessions_max = 50
spot         = true

nat_per_zone       = false
protect            = false
backup_days        = 7
log_retention_days = 30
