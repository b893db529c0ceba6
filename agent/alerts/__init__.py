"""What an alert is, its id for ever, how it is written as a CloudEvent, and what people may command."""
