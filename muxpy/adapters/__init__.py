"""Other libraries over a session, one module for each. Each needs its library, and none is loaded by `import muxpy`."""
