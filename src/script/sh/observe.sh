look_space
finish 'done'
