# Reports the slots that the same service uses in another directory.
elsewhere_slots=
for entry in $SLOTS; do
    number=${entry%%=*}
    ! runs_elsewhere "$number" || elsewhere_slots="${elsewhere_slots}taken=$number the unit ship-$SERVICE@$number.service of $elsewhere$NL"
done
