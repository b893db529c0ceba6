"""The running agent: sources are read, what they hand over is decided on, published, and saved to be resumed.

`app` puts it together; everything that waits for the outside world waits here.
"""
