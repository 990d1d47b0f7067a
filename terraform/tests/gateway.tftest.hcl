# The gateways' service, with no AWS at all: how clients and tasks come in, what a gateway is told, how it leaves.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name           = "trial"
  region         = "us-east-1"
  account_id     = "123456789012"
  partition      = "aws"
  role_name      = "trial-gateway"
  image          = "registry.example.com/trial/gateway:1.2.3"
  repository_arn = "arn:aws:ecr:us-east-1:123456789012:repository/trial/gateway"
  architecture   = "ARM64"
  cpu            = 1024
  memory         = 2048
  count_range    = { min = 2, max = 6 }
  user           = "900:900"
  state_dir      = "/var/lib/shellgate"
  ports          = { client = 7800, admin = 7801, task = 7802, peer = 7803 }
  seconds        = { balancer_idle = 120, deregistration = 5, stop_timeout = 120 }

  settings = {
    ecs__spot       = false
    store__port     = 5432
    listen__proxies = ["10.0.0.0/24", "10.0.1.0/24"]
    auth__issuers   = [{ issuer = "https://id.example.com", audience = ["a", "b"] }]
    templates__x    = { secrets = ["a", { name = "b", env = "B" }], env = { A = "\"k\":1,", B = ":x", C = "\\" }, limits = { cpu = "1core" } }
  }

  vpc_id               = "vpc-1"
  subnet_ids           = { public = ["subnet-1", "subnet-2"], gateway = ["subnet-3", "subnet-4"] }
  group_ids            = { balancer = "sg-1", task_balancer = "sg-2", gateway = "sg-3" }
  certificate_arn      = "arn:aws:acm:us-east-1:123456789012:certificate/x"
  public_zone_id       = null
  public_host          = "shell.example.com"
  internal_zone_id     = "Z1"
  task_host            = "tasks.trial.internal"
  requests_per_address = 3000

  grants = {
    session_cluster  = "trial-sessions"
    family           = "trial-session"
    passed_roles     = ["arn:aws:iam::123456789012:role/task", "arn:aws:iam::123456789012:role/execution"]
    file_systems     = ["arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1"]
    secrets_prefix   = "trial"
    secrets_key      = "arn:aws:kms:us-east-1:123456789012:key/x"
    database_cluster = "cluster-1"
    database_user    = "gateway"
  }

  protect            = true
  logs_key_arn       = "arn:aws:kms:us-east-1:123456789012:key/y"
  log_retention_days = 400
  alarm_topic_arn    = "arn:aws:sns:us-east-1:123456789012:x"
}

run "clients_come_by_tls_and_are_not_cut_off_between_pings" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = aws_lb_listener.https.ssl_policy == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06" && aws_lb_listener.https.port == 443
    error_message = "TLS 1.2 and newer."
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "Without TLS there is only the way to it."
  }

  assert {
    condition     = aws_lb.clients.idle_timeout > 66
    error_message = "Three pings at their slowest fit into the idle time."
  }

  assert {
    condition     = aws_lb.clients.drop_invalid_header_fields && aws_lb.clients.xff_header_processing_mode == "append"
    error_message = "Headers are read in one way, and the client's address is the last one."
  }

  assert {
    condition     = contains([for field in aws_wafv2_web_acl_logging_configuration.this.redacted_fields : field.single_header[0].name], "authorization")
    error_message = "No token stands in the firewall's log."
  }
}

run "tasks_come_inside_with_their_own_addresses" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = aws_lb.tasks.internal && aws_lb_listener.tasks.protocol == "TCP" && aws_lb_listener.tasks.port == 7802
    error_message = "TLS goes through to the gateway."
  }

  assert {
    condition     = aws_lb_target_group.tasks.preserve_client_ip == "true"
    error_message = "The address that arrives is the task's."
  }

  assert {
    condition     = aws_lb_listener.tasks.tcp_idle_timeout_seconds > 66 && aws_route53_record.tasks.name == "tasks.trial.internal"
    error_message = "A silent link is kept, and dialled by its name."
  }
}

run "a_gateway_that_leaves_has_time_and_no_more" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].stopTimeout == 120
    error_message = "It is killed when Fargate says."
  }

  assert {
    condition     = aws_lb_target_group.clients.deregistration_delay == "5" && aws_lb_target_group.tasks.deregistration_delay == "5"
    error_message = "Connections go elsewhere before it drains."
  }

  assert {
    condition     = aws_lb_target_group.clients.name_prefix == "client" && aws_lb_target_group.tasks.name_prefix == "tasks-"
    error_message = "A target group is never in the way of the one that replaces it."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback && aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 200
    error_message = "A version that fails is taken back, and no gateway leaves before another is ready."
  }

  assert {
    condition     = aws_ecs_service.this.alarms[0].enable && aws_ecs_service.this.alarms[0].rollback && aws_ecs_service.this.alarms[0].alarm_names == toset(["trial-5xx"])
    error_message = "One that fails its callers is, too."
  }
}

run "there_are_as_many_gateways_as_are_needed" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = aws_appautoscaling_target.this.min_capacity == 2 && aws_appautoscaling_target.this.max_capacity == 6 && aws_ecs_service.this.desired_count == 2
    error_message = "No fewer and no more than was said."
  }

  assert {
    condition     = { for name, policy in aws_appautoscaling_policy.this : name => policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type } == { cpu = "ECSServiceAverageCPUUtilization", memory = "ECSServiceAverageMemoryUtilization" }
    error_message = "Processor and memory say how many are needed."
  }

  assert {
    condition     = alltrue([for policy in aws_appautoscaling_policy.this : policy.target_tracking_scaling_policy_configuration[0].scale_in_cooldown == 1800 && policy.target_tracking_scaling_policy_configuration[0].scale_out_cooldown == 180])
    error_message = "One more is there soon, and each that leaves moves sessions: there is time between one and the next."
  }

  assert {
    condition     = aws_ecs_service.this.availability_zone_rebalancing == "ENABLED"
    error_message = "A zone that is back gets gateways again."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.running.threshold == 2 && aws_cloudwatch_metric_alarm.running.treat_missing_data == "breaching"
    error_message = "Fewer than there have to be are told, and none at all."
  }
}

run "how_many_there_are_is_the_variables" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  variables {
    count_range = { min = 3, max = 3 }
  }

  assert {
    condition     = aws_appautoscaling_target.this.min_capacity == 3 && aws_appautoscaling_target.this.max_capacity == 3 && aws_ecs_service.this.desired_count == 3 && aws_cloudwatch_metric_alarm.running.threshold == 3
    error_message = "Three are three."
  }
}

run "gateways_reach_each_other_past_the_load_balancers" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = toset([for mapping in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].portMappings : mapping.containerPort]) == toset([7800, 7801, 7802, 7803])
    error_message = "The container has the ports of the gateway's four listeners."
  }

  assert {
    condition     = toset([for balancer in aws_ecs_service.this.load_balancer : balancer.container_port]) == toset([7800, 7802])
    error_message = "No load balancer leads to the listener for other gateways."
  }

  assert {
    condition     = aws_ecs_service.this.network_configuration[0].security_groups == toset(["sg-3"])
    error_message = "All gateways are in the group whose members reach each other."
  }
}

run "a_gateway_that_is_lost_is_told" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = alltrue([for name in ["gateway-dead", "gateway-stalled"] : aws_cloudwatch_metric_alarm.log[name].threshold == 0 && aws_cloudwatch_metric_alarm.log[name].metric_name == "Log-${name}"])
    error_message = "One is enough."
  }

  assert {
    condition     = strcontains(aws_cloudwatch_log_metric_filter.this["gateway-dead"].pattern, "a gateway is declared dead") && strcontains(aws_cloudwatch_log_metric_filter.this["gateway-stalled"].pattern, "this gateway was declared dead")
    error_message = "The others say it, and so does the one, if it lives."
  }
}

run "a_gateway_is_no_root_and_has_nothing_to_write_to_but_its_state" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[0].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.this.container_definitions)[0].linuxParameters.capabilities.drop == ["ALL"] && jsondecode(aws_ecs_task_definition.this.container_definitions)[0].user == "900:900"
    error_message = "No root, no capability, no change to its image."
  }

  assert {
    condition     = [for mount in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].mountPoints : mount.containerPath] == ["/var/lib/shellgate"]
    error_message = "It writes to its state directory."
  }

  assert {
    condition     = !aws_ecs_service.this.enable_execute_command && !aws_ecs_service.this.network_configuration[0].assign_public_ip
    error_message = "Nobody opens a shell in it, and it has no public address."
  }
}

run "settings_are_variables_whose_values_are_toml" {
  command = plan

  module {
    source = "./modules/gateway"
  }

  assert {
    condition = local.environment == {
      SHELLGATE_GATEWAY__ECS__SPOT       = "false"
      SHELLGATE_GATEWAY__STORE__PORT     = "5432"
      SHELLGATE_GATEWAY__LISTEN__PROXIES = "[\"10.0.0.0/24\",\"10.0.1.0/24\"]"
      SHELLGATE_GATEWAY__AUTH__ISSUERS   = "[{\"audience\" = [\"a\",\"b\"],\"issuer\" = \"https://id.example.com\"}]"
      SHELLGATE_GATEWAY__TEMPLATES__X    = "{\"env\" = {\"A\" = \"\\\"k\\\":1,\",\"B\" = \":x\",\"C\" = \"\\\\\"},\"limits\" = {\"cpu\" = \"1core\"},\"secrets\" = [\"a\",{\"env\" = \"B\",\"name\" = \"b\"}]}"
    }
    error_message = "A text stands as it is, tables are written as TOML has them, and colons in texts are left alone."
  }
}
