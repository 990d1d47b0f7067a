# Where bridges dial: TCP is passed on as it comes, TLS is the gateway's own, with the tasks' private CA. The
# address that arrives is the task's, by which the gateway knows it.

resource "aws_lb" "tasks" {
  # checkov:skip=CKV_AWS_91:Access logs of a network load balancer are of TLS listeners only; the flow logs have its connections.
  name                             = "${var.name}-tasks"
  load_balancer_type               = "network"
  internal                         = true
  subnets                          = var.subnet_ids.gateway
  security_groups                  = [var.group_ids.task_balancer]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = var.protect
}

resource "aws_lb_listener" "tasks" {
  load_balancer_arn        = aws_lb.tasks.arn
  port                     = var.ports.task
  protocol                 = "TCP"
  tcp_idle_timeout_seconds = 350

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.tasks.arn
  }
}

resource "aws_lb_target_group" "tasks" {
  name_prefix          = "tasks-"
  port                 = var.ports.task
  protocol             = "TCP"
  target_type          = "ip"
  vpc_id               = var.vpc_id
  preserve_client_ip   = true
  deregistration_delay = var.seconds.deregistration

  tags = { Name = "${var.name}-tasks" }

  health_check {
    protocol            = "HTTP"
    port                = var.ports.admin
    path                = "/readyz"
    matcher             = "200"
    interval            = 15
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 10
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "tasks" {
  zone_id = var.internal_zone_id
  name    = var.task_host
  type    = "A"

  alias {
    name                   = aws_lb.tasks.dns_name
    zone_id                = aws_lb.tasks.zone_id
    evaluate_target_health = false
  }
}
