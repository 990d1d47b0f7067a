# Backups that fail, and a file system that is slow.

resource "aws_cloudwatch_metric_alarm" "backup" {
  alarm_name          = "${var.name}-backup-failed"
  alarm_description   = "Last night's backup of the users' files failed."
  namespace           = "AWS/Backup"
  metric_name         = "NumberOfBackupJobsFailed"
  dimensions          = { BackupVaultName = aws_backup_vault.this.name }
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

resource "aws_cloudwatch_metric_alarm" "throughput" {
  for_each = local.file_systems

  alarm_name          = "${var.name}-volumes-${each.key}-throughput"
  alarm_description   = "File system ${each.key} is used to more than 80 % of what it can carry: everybody's files are slow."
  namespace           = "AWS/EFS"
  metric_name         = "PercentIOLimit"
  dimensions          = { FileSystemId = aws_efs_file_system.this[each.key].id }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  threshold           = 80
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
