def log = new File(basedir, 'build.log').text
assert log.contains("making 'typed' for " + basedir)
assert log.count("making 'typed'") == 1
assert log =~ /INNER \[-B\] \[test\] in typed of typed/
assert log =~ /line for sh: 42 typed/
assert log =~ /INNER \[-P\] \[fast\] \[-o\] \[-fae\] \[-B\] \[-Dforwarded=x\] \[-Da=b c\] \[verify\]/
assert log.contains('properties that stay out: kept.back')
assert log =~ /mvnw .*fail:fail' exited with status 3 in the sandbox/
assert log.contains('would be this computer\'s value')
assert log =~ /\[INFO\] INNER .*\[verify\] in typed of typed/
assert log.contains('skipped (lima.skip)')
assert !log.contains('[skipped:skipped]')
assert log =~ /typed +Running/
assert log.contains('typed is stopped')
assert log.contains('-Dlima.yes')
assert log.contains('typed is deleted')
return true
