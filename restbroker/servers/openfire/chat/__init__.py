"""Openfire's Chat API (the plugin ofchat): users who chat, workgroups, bookmarks, and what else it offers."""
