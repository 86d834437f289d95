# From now on the host refuses every order of an older epoch: entering stores this one.
enter
finish 'done'
