variable "name" {
  description = "Prefix of what is made."
  type        = string
  default     = "whostalled"
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

variable "instance_types" {
  description = "Types that may be launched."
  type        = list(string)
  default     = ["t2.medium", "t3.medium"]
}

variable "parameter_prefix" {
  description = "SSM parameters PREFIX/NAME that hold agents' credentials."
  type        = string
  default     = "/whostalled/agents"
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
