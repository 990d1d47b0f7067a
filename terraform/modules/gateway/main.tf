# The gateways: a service of their own cluster, whose tasks their own role cannot stop.

locals {
  # A setting is a variable of the gateway's environment, and its value is TOML. A text stands as it is. All else TOML
  # writes as JSON does, but for what is between a key and its value: where a text has a colon behind it. Texts are
  # marked, by what stands in none of them, because a colon may be in a text, too.
  marked = { for key, value in var.settings : key => replace(jsonencode(value), "/\"(?:[^\"\\\\]|\\\\.)*\"/", "$0\u0001") }
  environment = {
    for key, value in var.settings : "SHELLGATE_GATEWAY__${upper(key)}" => (
      can(tostring(value)) ? tostring(value) : replace(replace(local.marked[key], "\u0001:", " = "), "\u0001", "")
    )
  }
}

resource "aws_ecs_cluster" "this" {
  name = "${var.name}-gateway"

  setting {
    name  = "containerInsights"
    value = "enabled"
  }

  depends_on = [aws_cloudwatch_log_group.insights]
}

resource "aws_cloudwatch_log_group" "gateway" {
  name              = "/${var.name}/gateway"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

# ECS would make it by itself, and keep it for ever.
resource "aws_cloudwatch_log_group" "insights" {
  name              = "/aws/ecs/containerinsights/${var.name}-gateway/performance"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-gateway"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = aws_iam_role.gateway.arn
  execution_role_arn       = aws_iam_role.execution.arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.architecture
  }

  # What the gateway must not forget stands in the database; this goes with the task.
  volume {
    name = "state"
  }

  # Health is the load balancers' to judge: the image has no program that could ask the gateway from inside.
  container_definitions = jsonencode([{
    name                   = "gateway"
    image                  = var.image
    essential              = true
    user                   = var.user
    readonlyRootFilesystem = true
    stopTimeout            = var.seconds.stop_timeout
    environment            = [for name, value in local.environment : { name = name, value = value }]
    mountPoints            = [{ sourceVolume = "state", containerPath = var.state_dir, readOnly = false }]
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 65535, hardLimit = 65535 }]
    portMappings = [for port in [var.ports.client, var.ports.admin, var.ports.task, var.ports.peer] : {
      containerPort = port
      hostPort      = port
      protocol      = "tcp"
    }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.gateway.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "gateway"
        # A gateway never waits for its log. Lines that do not fit are lost; the audit trail is in the database, too.
        mode            = "non-blocking"
        max-buffer-size = "8m"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name             = "gateway"
  cluster          = aws_ecs_cluster.this.id
  task_definition  = aws_ecs_task_definition.this.arn
  launch_type      = "FARGATE"
  platform_version = "LATEST"
  desired_count    = var.count_range.min

  enable_execute_command = false
  # A zone that is back gets gateways again, and their sessions move.
  availability_zone_rebalancing = "ENABLED"
  propagate_tags                = "SERVICE"

  # New ones first: old ones leave once the new ones are ready, and hand over their sessions, whose bridges and clients
  # carry on at any that is there.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120

  # A version that does not start, or starts and fails its callers, is taken back without anybody's doing.
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  alarms {
    enable      = true
    rollback    = true
    alarm_names = [aws_cloudwatch_metric_alarm.balancer["5xx"].alarm_name]
  }

  network_configuration {
    subnets          = var.subnet_ids.gateway
    security_groups  = [var.group_ids.gateway]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.clients.arn
    container_name   = "gateway"
    container_port   = var.ports.client
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.tasks.arn
    container_name   = "gateway"
    container_port   = var.ports.task
  }

  lifecycle {
    # How many there are is scaling.tf's to decide.
    ignore_changes = [desired_count]
  }

  # A gateway is refused what its role is not given yet, and is in no service behind a balancer without listener.
  depends_on = [
    aws_iam_role_policy.execution,
    aws_iam_role_policy.gateway,
    aws_lb_listener.https,
    aws_lb_listener.tasks,
  ]
}
