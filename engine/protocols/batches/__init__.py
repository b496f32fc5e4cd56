"""OpenAI's batches: a file of requests, one a line, and the files of answers to them.

Owns what a line of either file says, and the object that a batch is. Each line's request and answer
are those of its endpoint, whose own codec reads them. Reading files and sending them is
`engine.batches`.

Source: "Batch API" in OpenAI's guides and its API reference (`batches`, "The request input
object", "The request output object").
"""
