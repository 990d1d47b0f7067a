# The deployment that people work with.

name       = "shellgate"
account_id = "222222222222"
region     = "us-east-1"
zones      = ["us-east-1a", "us-east-1b", "us-east-1c"]

domain          = "shell.example.com"
certificate_arn = "arn:aws:acm:us-east-1:222222222222:certificate/00000000-0000-0000-0000-000000000000"
public_zone_id  = "Z00000000000000000000"

issuers = [{
  issuer   = "https://id.example.com"
  audience = ["shellgate"]
  jwks_url = "https://id.example.com/.well-known/jwks.json"
}]

images = { gateway = "0.1.0", task = "0.1.0" }

gateway      = { cpu = 1024, memory = 2048, min = 2, max = 6 }
database     = { instances = 2, max_capacity = 8 }
sessions_max = 5000
file_systems = ["homes-1", "homes-2"]

alarm_emails = ["oncall@example.com"]

# Git's token as a file and a variable, for whoever has stored one; an agent that speaks lines, and is cheap to lose.
templates = {
  default = {
    secrets = [{ name = "git-token", env = "GIT_TOKEN" }]
    idle    = "1h"
    limits  = { cpu = "1core", memory = "2GiB" }
  }
  agent = {
    command = ["agent", "--lines"]
    mode    = "lines"
    env     = { AGENT_COLOR = "never" }
    idle    = "10m"
    spot    = true
    limits  = { cpu = "500m", memory = "1GiB" }
  }
}
extra_settings = { limits__sessions_per_user = 3, secrets__max_age = "5m" }
