"""What the command reads from outside, one file a service. Only these import boto3 and delta-rs."""
