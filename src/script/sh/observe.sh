finish 'done'
