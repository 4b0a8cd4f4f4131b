def log = new File(basedir, 'build.log').text
assert log.count("making 'modules'") >= 1
assert (log =~ /cloning base-.* \.\.\./).count == 1
['a', 'b', 'c'].each { assert log.contains('EXACT <$HOME; "x"> <> <' + it + '>') }
assert log.count('EXACT <$HOME; "x"> <> <a>') == 1
return true
