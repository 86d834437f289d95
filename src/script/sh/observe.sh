look_identity
finish 'done'
