"""Any program that posts: a map makes an event of its JSON, form, XML or text."""
