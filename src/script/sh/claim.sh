# From now on the host refuses every older order: entering stores this one.
enter
finish 'done'
