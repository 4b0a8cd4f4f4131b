printf 'line1\nline2\n'; printf '\033[?1049h\033[5;5Hfull'; 
printf '\0337\033[?1049l'; echo AFTER; sleep 3
