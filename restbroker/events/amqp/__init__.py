"""MongooseIM's RabbitMQ pusher: what it publishes is consumed from a queue of restbroker's own.

All facts here about what MongooseIM publishes, and when, were measured with MongooseIM 6.8.0 and RabbitMQ 4.0.5; what
RabbitMQ answers, with Debian's RabbitMQ 3.10.8, which the tests run.
"""
