"""MongooseIM: the operations of its GraphQL API as commands."""
