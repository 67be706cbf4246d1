# `whostalled vantage reap` every few minutes, as a task of ECS Fargate that EventBridge Scheduler starts: it needs no host of its own, and
# none of the vantages. The image has whostalled and whostalled-vantage-ec2 (docs/ec2.md, "The reaper").

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

resource "aws_ecs_cluster" "reaper" {
  name = "${var.name}-reaper"
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
  tags = var.tags
}

resource "aws_cloudwatch_log_group" "reaper" {
  name              = "/${var.name}/reaper"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "task" {
  name = "${var.name}-reaper"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "reap" {
  name   = "reap"
  role   = aws_iam_role.task.id
  policy = jsonencode(local.policy)
}

resource "aws_iam_role" "execution" {
  name = "${var.name}-reaper-start"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${var.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_ecs_task_definition" "reap" {
  family                   = "${var.name}-reaper"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "256"
  memory                   = "512"
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions = jsonencode([{
    name                   = "reap"
    image                  = var.image
    readonlyRootFilesystem = true
    command = concat(
      ["vantage", "reap", "--provider", "ec2", "--json", "--grace", "${var.grace_minutes}m", "--set", "region=${var.regions[0]}"],
      ["--set", "regions=${jsonencode(var.regions)}"],
    )
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.reaper.name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = "reap"
      }
    }
  }])
  tags = var.tags
}

resource "aws_security_group" "reaper" {
  # checkov:skip=CKV2_AWS_5: it is attached to the task, by the schedule's network_configuration, where checkov does not look
  name        = "${var.name}-reaper"
  description = "The reaper calls AWS, nothing comes in"
  vpc_id      = var.vpc_id
  tags        = var.tags
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.reaper.id
  description       = "The API of EC2, the registry of images"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_iam_role" "scheduler" {
  name = "${var.name}-reaper-schedule"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "start" {
  name = "start"
  role = aws_iam_role.scheduler.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "ecs:RunTask", Resource = aws_ecs_task_definition.reap.arn },
      {
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [aws_iam_role.task.arn, aws_iam_role.execution.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]
  })
}

resource "aws_scheduler_schedule" "reap" {
  # checkov:skip=CKV_AWS_297: it holds names of resources and no secret; a key of one's own would have to be permitted to the scheduler

  name                = "${var.name}-reaper"
  schedule_expression = "rate(${var.every_minutes} minutes)"
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_ecs_cluster.reaper.arn
    role_arn = aws_iam_role.scheduler.arn
    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.reap.arn
      launch_type         = "FARGATE"
      network_configuration {
        subnets          = var.subnet_ids
        security_groups  = [aws_security_group.reaper.id]
        assign_public_ip = var.public_address
      }
    }
    retry_policy {
      maximum_retry_attempts       = 2
      maximum_event_age_in_seconds = 300
    }
  }

  lifecycle {
    precondition {
      # Five minutes for a task that starts, a look at every region, and an instance that takes its time to end.
      condition     = 2 * var.every_minutes + var.grace_minutes + 5 <= var.reaped_within_minutes
      error_message = "Twice every_minutes, grace_minutes and five minutes are more than reaped_within_minutes: what is brought up could cost more than was said before."
    }
  }
}
