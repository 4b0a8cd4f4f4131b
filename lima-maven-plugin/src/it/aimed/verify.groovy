def log = new File(basedir, 'build.log').text
assert log.contains('lima.dir in a POM does not count')
return true
