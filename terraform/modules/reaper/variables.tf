variable "name" {
  description = "Prefix of what is made."
  type        = string
  default     = "whostalled"
}

variable "image" {
  description = "Image with whostalled (its entry point) and whostalled-vantage-ec2."
  type        = string
}

variable "regions" {
  description = "Every region in which vantages may be: a region that is not named is not looked at."
  type        = list(string)
  validation {
    condition     = length(var.regions) > 0
    error_message = "Name at least one region."
  }
}

variable "every_minutes" {
  description = "How often it comes. Twice this and the grace are within `reaped_within_minutes` of the settings of ec2."
  type        = number
  default     = 5
  validation {
    condition     = var.every_minutes >= 2 && var.every_minutes <= 60
    error_message = "From 2 to 60."
  }
}

variable "grace_minutes" {
  description = "Between mark and end."
  type        = number
  default     = 5
}

variable "region" {
  description = "Where the reaper itself runs."
  type        = string
}

variable "account_id" {
  description = "The account."
  type        = string
}

variable "partition" {
  description = "`aws`, `aws-cn` or `aws-us-gov`."
  type        = string
  default     = "aws"
}

variable "vpc_id" {
  description = "The network it runs in."
  type        = string
}

variable "subnet_ids" {
  description = "Its subnets."
  type        = list(string)
}

variable "public_address" {
  description = "Whether it gets a public address; without one the subnets need a NAT."
  type        = bool
  default     = true
}

variable "log_days" {
  description = "How long its log is kept."
  type        = number
  default     = 365
}

variable "kms_key_arn" {
  description = "Key that its log is encrypted with; null: AWS's own."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
