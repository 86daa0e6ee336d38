def attack(header):
    return ""
