enter
disarm
finish 'done'
