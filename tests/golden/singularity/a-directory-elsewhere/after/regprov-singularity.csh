# Written by regprov. Holds no secret: the login lies where only its readers can read it.
if ( -r '/opt/it;s/regprov/singularity.csh' ) source '/opt/it;s/regprov/singularity.csh'
