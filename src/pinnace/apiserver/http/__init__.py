"""The forms of requests and answers: query options, bodies, media types, tables, frames of watches."""
