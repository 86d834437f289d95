# Reports the ports that the same service uses in another directory.
elsewhere_ports=
for port in $PORTS; do
    ! runs_elsewhere "$port" || elsewhere_ports="${elsewhere_ports}taken=$port the unit ship-$SERVICE@$port.service of $elsewhere$NL"
done
