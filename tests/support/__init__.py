"""What tests are made of: models, servers, clients, made-up results."""
