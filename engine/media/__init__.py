"""Media and the forms they come in: what they are, how large, how long; pure functions of bytes.

Owns: multipart forms (`forms`), kinds of media by their first bytes (`sniff`), WAV around raw PCM
(`wav`), how long recordings sound (`duration`), bounds on what others say about their media.
Owns not: prices of images and seconds, where bytes are kept, decoding: nothing is played or drawn.
Imports nothing of ours but the error tree, so that codecs and the parsing helper can use it.
"""
