"""MongooseIM's backend for Amazon SNS, pointed at us: each event is signed, and sent again until it is taken."""
