"""MongooseIM's mod_event_pusher_http: the messages that it posts."""
