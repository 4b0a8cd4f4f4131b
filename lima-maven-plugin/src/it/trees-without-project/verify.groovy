def log = new File(basedir, 'build.log').text
assert log.contains("making 'app' for " + basedir + '/app')
assert log =~ /(?m)^.*\/app$/
assert log.contains('jvm.config')
assert !log.contains('planted.jar')
def second = (log =~ /making '(app[^']+)' for (.*\/second\/app)\n/)
assert second.find()
assert log.contains(second.group(2) + ' in ' + second.group(1) + '\n')
def version = (log =~ /copying Maven (\S+) into it/)
assert version.find()
assert log.contains('Maven home: /usr/local/lib/sandbox/maven-' + version.group(1))
return true
