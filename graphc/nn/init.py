def as_initializer(init, t):
    return init
