# The deployment as a whole, with no AWS at all: what its settings say, and what it does not take.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name       = "trial"
  account_id = "123456789012"
  region     = "us-east-1"
  zones      = ["us-east-1a", "us-east-1b", "us-east-1c"]

  domain          = "shell.example.com"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/x"
  issuers = [{
    issuer   = "https://id.example.com"
    audience = ["shellgate"]
    jwks_url = "https://keys.example.com/jwks.json"
  }]
  images = { gateway = "1.2.3", task = "1.2.3" }
}

run "settings_say_what_the_deployment_is" {
  command = plan

  assert {
    condition     = output.tasks__dial == "wss://tasks.trial.internal:7802"
    error_message = "Tasks dial the gateway by its own name."
  }

  assert {
    condition     = output.ecs__family == "trial-session" && output.ecs__log_group == "/trial/sessions" && !output.ecs__spot
    error_message = "Tasks are a family of their own, with a log group of their own."
  }

  assert {
    condition     = output.listen__origins == ["https://shell.example.com"] && output.listen__proxies == ["10.64.192.0/22", "10.64.196.0/22", "10.64.200.0/22"]
    error_message = "The load balancer's subnets are believed, and the public name's page may come."
  }

  assert {
    condition     = output.tasks__authorities == ["ssm:/trial/gateway/task-authority"] && output.secrets__prefix == "/trial"
    error_message = "The gateway's own secrets are below its prefix."
  }

  assert {
    condition     = output.server__drain == "90s" && output.limits__sessions == 500
    error_message = "Limits and times are the variables'."
  }
}

run "a_drain_beyond_its_bound_is_refused" {
  command = plan

  variables {
    leaving = { drain = 91 }
  }

  expect_failures = [var.leaving]
}

run "a_kill_before_the_process_has_left_is_refused" {
  command = plan

  variables {
    leaving = { drain = 90, stop_timeout = 104 }
  }

  expect_failures = [var.leaving]
}

run "a_stop_that_fargate_does_not_wait_for_is_refused" {
  command = plan

  variables {
    leaving = { stop_timeout = 121 }
  }

  expect_failures = [var.leaving]
}

run "connections_that_outlast_the_drain_are_refused" {
  command = plan

  variables {
    leaving = { deregistration = 90, drain = 90 }
  }

  expect_failures = [var.leaving]
}

run "what_cannot_work_is_refused_each_with_its_reason" {
  command = plan

  variables {
    # Parameter Store has no such names; three pings take 66 seconds; an image that may be another tomorrow; no such
    # size on Fargate; a zone of another region; keys that are published without TLS.
    name                  = "ssm-shells"
    balancer_idle_seconds = 66
    images                = { gateway = "latest", task = "1.2.3" }
    gateway               = { cpu = 1024, memory = 1024 }
    zones                 = ["us-east-1a", "eu-west-1a"]
    issuers = [{
      issuer   = "https://id.example.com"
      audience = ["shellgate"]
      jwks_url = "http://id.example.com/jwks.json"
    }]
  }

  expect_failures = [
    var.name,
    var.balancer_idle_seconds,
    var.images,
    var.gateway,
    var.zones,
    var.issuers,
  ]
}
