def log = new File(basedir, 'build.log').text
assert log.contains("making 'tree' for " + basedir + '/tree')
assert log =~ /(?m)^.*\/tree$/
assert log.contains('jvm.config')
assert !log.contains('planted.jar')
assert log.contains('tree is deleted')
return true
