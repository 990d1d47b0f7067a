# One page on which an operator sees whether people can work: clients, gateways, tasks, database, files.

locals {
  metrics       = module.gateway.metrics
  gateway       = [module.gateway.cluster_name, module.gateway.service_name]
  alb           = ["LoadBalancer", local.metrics.balancer]
  alb_group     = concat(local.alb, ["TargetGroup", local.metrics.target_group])
  nlb           = ["LoadBalancer", local.metrics.task_balancer]
  gateway_dims  = ["ClusterName", local.gateway[0], "ServiceName", local.gateway[1]]
  database_dims = ["DBClusterIdentifier", module.database.cluster_identifier]

  # Title, and one line for each metric: namespace, name, dimensions, and how it is counted.
  graphs = [
    {
      title = "Clients: connections and answers"
      lines = [
        concat(["AWS/ApplicationELB", "ActiveConnectionCount"], local.alb, [{ stat = "Sum" }]),
        concat(["AWS/ApplicationELB", "NewConnectionCount"], local.alb, [{ stat = "Sum" }]),
        concat(["AWS/ApplicationELB", "HTTPCode_Target_4XX_Count"], local.alb, [{ stat = "Sum" }]),
        concat(["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"], local.alb, [{ stat = "Sum" }]),
      ]
    },
    {
      title = "Clients: how long gateways take to answer"
      lines = [
        concat(["AWS/ApplicationELB", "TargetResponseTime"], local.alb_group, [{ stat = "p50" }]),
        concat(["AWS/ApplicationELB", "TargetResponseTime"], local.alb_group, [{ stat = "p99" }]),
      ]
    },
    {
      title = "Turned away by the firewall"
      lines = [
        for rule in ["reputation", "flood", "known-bad", "common"] :
        ["AWS/WAFV2", "BlockedRequests", "WebACL", "${var.name}-clients", "Region", var.region, "Rule", "${var.name}-${rule}", { stat = "Sum" }]
      ]
    },
    {
      title = "Gateways: how many, processor, memory"
      lines = [
        concat(["ECS/ContainerInsights", "RunningTaskCount"], local.gateway_dims, [{ stat = "Minimum" }]),
        # How many scaling wants there to be, and the busiest: sessions stay where they are, so it may be far from the average.
        concat(["ECS/ContainerInsights", "DesiredTaskCount"], local.gateway_dims, [{ stat = "Maximum" }]),
        concat(["AWS/ECS", "CPUUtilization"], local.gateway_dims, [{ stat = "Average", yAxis = "right" }]),
        concat(["AWS/ECS", "CPUUtilization"], local.gateway_dims, [{ stat = "Maximum", yAxis = "right" }]),
        concat(["AWS/ECS", "MemoryUtilization"], local.gateway_dims, [{ stat = "Average", yAxis = "right" }]),
        concat(["AWS/ECS", "MemoryUtilization"], local.gateway_dims, [{ stat = "Maximum", yAxis = "right" }]),
      ]
    },
    {
      title = "Gateways: what they write to their log"
      lines = [
        for kind in ["errors", "start-failed", "throttled", "permission-missing", "compromised", "issuer-keys", "secrets", "gateway-dead", "gateway-stalled"] :
        [var.name, "Log-${kind}", { stat = "Sum" }]
      ]
    },
    {
      title = "Sessions: links of their bridges"
      lines = [
        concat(["AWS/NetworkELB", "ActiveFlowCount"], local.nlb, [{ stat = "Average" }]),
        concat(["AWS/NetworkELB", "NewFlowCount"], local.nlb, [{ stat = "Sum" }]),
      ]
    },
    {
      title = "Fargate: vCPUs in use"
      lines = [
        for class in ["Standard/OnDemand", "Standard/Spot"] :
        ["AWS/Usage", "ResourceCount", "Service", "Fargate", "Type", "Resource", "Resource", "vCPU", "Class", class, { stat = "Maximum" }]
      ]
    },
    {
      title = "Database: capacity and connections"
      lines = [
        concat(["AWS/RDS", "ACUUtilization"], local.database_dims, [{ stat = "Average" }]),
        concat(["AWS/RDS", "DatabaseConnections"], local.database_dims, [{ stat = "Maximum", yAxis = "right" }]),
        concat(["AWS/RDS", "CommitLatency"], local.database_dims, [{ stat = "Average", yAxis = "right" }]),
      ]
    },
    {
      title = "Files: mounts and bytes"
      lines = concat([
        for id in module.volumes.file_system_ids : [
          ["AWS/EFS", "ClientConnections", "FileSystemId", id, { stat = "Sum" }],
          ["AWS/EFS", "TotalIOBytes", "FileSystemId", id, { stat = "Sum", yAxis = "right" }],
        ]
      ]...)
    },
    {
      title = "Names that were not answered"
      lines = [[var.name, "DnsBlocked", { stat = "Sum" }]]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, graph in local.graphs : {
        type   = "metric"
        x      = (index % 2) * 12
        y      = floor(index / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = graph.title
          region  = var.region
          view    = "timeSeries"
          period  = 60
          metrics = graph.lines
        }
      }
    ]
  })
}
