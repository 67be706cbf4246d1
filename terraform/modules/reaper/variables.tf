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
  description = "How often it comes."
  type        = number
  default     = 5
  validation {
    condition     = var.every_minutes >= 2 && var.every_minutes <= 60 && floor(var.every_minutes) == var.every_minutes
    error_message = "From 2 to 60, whole."
  }
}

variable "grace_minutes" {
  description = "Between mark and end."
  type        = number
  default     = 5
  validation {
    condition     = var.grace_minutes >= 0 && floor(var.grace_minutes) == var.grace_minutes
    error_message = "Whole minutes."
  }
}

variable "reaped_within_minutes" {
  description = "`reaped_within_minutes` of the settings of ec2, which prices are computed with: how late this reaper may end something. It marks when it comes, and ends when it comes next behind the grace: twice `every_minutes`, the grace, and five minutes in which it starts and an instance ends."
  type        = number
  default     = 60
  validation {
    condition     = var.reaped_within_minutes >= 5 && var.reaped_within_minutes <= 1440 && floor(var.reaped_within_minutes) == var.reaped_within_minutes
    error_message = "From 5 to 1440, whole, as the provider takes it."
  }
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
