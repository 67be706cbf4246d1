variable "name" {
  description = "Prefix of what is made."
  type        = string
  default     = "whostalled"
}

variable "instance_ids" {
  description = "Standing vantages of burstable types, by name."
  type        = map(string)
  default     = {}
}

variable "least_credits" {
  description = "Fewer credits alarm: 10 are five minutes with two vCPUs busy."
  type        = number
  default     = 10
}

variable "reaper_log_group" {
  description = "Where the reaper logs, JSON (`--json`); null: nobody hears of one that does not get done."
  type        = string
  default     = null
}

variable "reaper_silent_minutes" {
  description = "How long the reaper may not get done: several times its `every_minutes` (`silent_minutes` of modules/reaper)."
  type        = number
  default     = 30
  validation {
    condition     = var.reaper_silent_minutes >= 1 && var.reaper_silent_minutes <= 1440 && floor(var.reaper_silent_minutes) == var.reaper_silent_minutes
    error_message = "From 1 to 1440, whole: CloudWatch looks back a day."
  }
}

variable "topic_arns" {
  description = "Further SNS topics that hear of alarms."
  type        = list(string)
  default     = []
}

variable "usd_per_month" {
  description = "What vantages that are brought up may cost a month."
  type        = number
  default     = 20
}

variable "emails" {
  description = "Who hears of alarms and of cost. Of alarms once the address is confirmed."
  type        = list(string)
  validation {
    condition     = length(var.emails) > 0
    error_message = "An alarm that nobody hears is none: name an address."
  }
}

variable "kms_key_arn" {
  description = "Key that the topic is encrypted with, which cloudwatch.amazonaws.com must be let use; null: none."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
