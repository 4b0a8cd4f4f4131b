def log = new File(basedir, 'build.log').text
assert log.count("making 'modules'") == 1
assert (log =~ /cloning base-.* \.\.\./).count == 1
assert log.count('booting modules ...') == 1
['a', 'b', 'c'].each { assert log.count('EXACT <$HOME; "x"> <> <' + it + '>') == 1 }
return true
