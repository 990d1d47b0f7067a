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
    condition     = output.listen__client == "0.0.0.0:7800" && output.listen__admin == "0.0.0.0:7801" && output.listen__task == "0.0.0.0:7802" && output.listen__peer == "0.0.0.0:7803"
    error_message = "Each kind of caller has a listener of its own, other gateways, too."
  }

  assert {
    condition     = output.store__kind == "postgres" && output.store__connections == 8
    error_message = "Gateways share a database, and each has a part of its connections."
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

run "templates_and_further_settings_are_the_operators" {
  command = plan

  variables {
    templates = {
      default = { secrets = [{ name = "git-token", env = "GIT_TOKEN" }], limits = { cpu = "500m", memory = "1GiB" } }
      agent   = { command = ["agent"], mode = "lines", idle = "10m" }
    }
    extra_settings = { limits__parallel_starts = 16, secrets__max_age = "5m" }
    issuers = [{
      issuer   = "https://id.example.com"
      audience = ["shellgate"]
      jwks_url = "https://keys.example.com/jwks.json"
      max_age  = "2d"
    }]
  }

  assert {
    condition     = output.further_settings == { templates__agent = { command = ["agent"], mode = "lines", idle = "10m" }, templates__default = { secrets = [{ name = "git-token", env = "GIT_TOKEN" }], limits = { cpu = "500m", memory = "1GiB" } }, secrets__max_age = "5m" }
    error_message = "What they say is a setting, to the letter."
  }

  assert {
    condition     = output.limits__parallel_starts == 16
    error_message = "What is usual here can be otherwise."
  }

  assert {
    condition     = output.auth__issuers[0].max_age == "2d" && toset(keys(output.auth__issuers[0])) == toset(["issuer", "audience", "jwks_url", "max_age"])
    error_message = "What is not said of an issuer is left to the gateway."
  }
}

run "a_template_that_says_what_no_template_does_is_refused" {
  command = plan

  variables {
    templates = { default = { idel = "10m" } }
  }

  expect_failures = [var.templates]
}

run "a_setting_that_is_the_deployments_is_refused" {
  command = plan

  variables {
    extra_settings = { ecs__cluster = "mine" }
  }

  expect_failures = [output.further_settings]
}

run "no_gateway_at_all_is_refused" {
  command = plan

  variables {
    gateway = { min = 0, max = 2 }
  }

  expect_failures = [var.gateway]
}

run "fewer_gateways_at_most_than_at_least_are_refused" {
  command = plan

  variables {
    gateway = { min = 3, max = 2 }
  }

  expect_failures = [var.gateway]
}

run "half_a_gateway_is_refused" {
  command = plan

  variables {
    gateway = { min = 1.5, max = 2 }
  }

  expect_failures = [var.gateway]
}

run "more_gateways_than_there_may_be_are_refused" {
  command = plan

  variables {
    gateway  = { min = 2, max = 21 }
    database = { max_capacity = 8 }
  }

  expect_failures = [var.gateway]
}

run "as_many_gateways_as_there_may_be_are_taken" {
  command = plan

  variables {
    gateway  = { min = 1, max = 20 }
    database = { max_capacity = 3 }
  }

  assert {
    condition     = local.connections_needed == 385 && local.connections.possible == 540
    error_message = "Twice twenty gateways with nine connections each, and a reserve, fit into what the database takes."
  }
}

run "more_connections_than_the_database_takes_are_refused" {
  command = plan

  variables {
    gateway  = { min = 1, max = 10 }
    database = { max_capacity = 1 }
  }

  expect_failures = [output.store__connections]
}

run "more_connections_of_each_gateway_are_counted" {
  command = plan

  variables {
    gateway        = { min = 2, max = 6 }
    database       = { max_capacity = 4 }
    extra_settings = { store__connections = 60 }
  }

  expect_failures = [output.store__connections]
}

run "a_database_that_may_shrink_to_half_a_unit_takes_no_more_than_it_does_then" {
  command = plan

  variables {
    database = { min_capacity = 0.5, max_capacity = 64 }
  }

  assert {
    condition     = local.connections.possible == 2000
    error_message = "It takes 2,000."
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
    # size on Fargate; a zone of another region; keys that are published without TLS; a name that no template has; a section.
    name                  = "ssm-shells"
    balancer_idle_seconds = 66
    images                = { gateway = "latest", task = "1.2.3" }
    gateway               = { cpu = 1024, memory = 1024 }
    zones                 = ["us-east-1a", "eu-west-1a"]
    templates             = { Default = {} }
    extra_settings        = { sandbox = {} }
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
    var.templates,
    var.extra_settings,
    var.issuers,
  ]
}
