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
  description = "Where the reaper logs; null: its silence alarms nobody."
  type        = string
  default     = null
}

variable "reaper_silent_minutes" {
  description = "Silence that alarms: several times `every_minutes` of the reaper."
  type        = number
  default     = 30
}

variable "topic_arns" {
  description = "SNS topics that hear of it."
  type        = list(string)
  default     = []
}

variable "usd_per_month" {
  description = "What vantages that are brought up may cost a month."
  type        = number
  default     = 20
}

variable "emails" {
  description = "Who hears of cost."
  type        = list(string)
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
