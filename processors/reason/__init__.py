KEY_VARIABLE = "CLIPLOOM_VLM_KEY"
"""Environment variable with the secret of the endpoint that a profile's engine asks; the entry points read it."""
