"""Parts of a config.pbtxt."""


def parameter(key: str, value: str) -> str:
    return f"parameters {{ key: '{key}' value {{ string_value: '{value}' }} }}\n"
